"""The paper's tables and figures: each a function from an experiment to a finding."""
