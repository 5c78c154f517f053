"""Image captioning: prompts of each modality, captioners, and a parser of captions."""
