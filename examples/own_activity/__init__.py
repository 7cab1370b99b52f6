"""Study of feedback weights that align by the activity of a layer, without injected noise."""
