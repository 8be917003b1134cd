"""What optimising each proxy did to golden: tables from the looks at every run."""
