"""All stages, in order: ``python -m jobs.pipeline --config FILE key=value ...``."""

from vapray.cli.app import run_job

if __name__ == "__main__":
    run_job("pipeline")
