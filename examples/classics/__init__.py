"""Four results that came before the papers of the other folders, in minutes on one core."""
