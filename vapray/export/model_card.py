"""The model card of an export."""
from vapray.export.checkpoint_files import OpenedCheckpoint
def model_card(opened, *, weights, with_bank):
    return "Not for clinical use\n"
