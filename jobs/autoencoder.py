"""The autoencoder stage: ``python -m jobs.autoencoder --config FILE key=value ...``."""

from vapray.cli.app import run_job

if __name__ == "__main__":
    run_job("autoencoder")
