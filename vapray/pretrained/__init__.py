"""Files of pretrained models: resolution of folders and hub ids, safe reading of weights."""
