"""Study of imperfect feedback paths: test accuracy with each defect of the path."""
