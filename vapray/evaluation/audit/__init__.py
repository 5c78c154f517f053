"""The audit of captions: what they claim, held against the pictures, against themselves and against experts."""
