"""Pictures to captions: prompts per modality, captioners, and what a caption says about an image."""
