"""How good a feedback path has to be: accuracy against each of its defects."""
