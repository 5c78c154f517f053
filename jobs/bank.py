"""The bank stage: ``python -m jobs.bank --config FILE key=value ...``."""

from vapray.cli.app import run_job

if __name__ == "__main__":
    run_job("bank")
