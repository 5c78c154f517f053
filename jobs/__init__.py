"""Entry points for ``ray job submit``; each calls :func:`vapray.cli.run_job`."""
