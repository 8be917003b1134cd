"""Verdicts and measured regrets, kept between releases."""
