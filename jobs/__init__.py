"""Entry points for ``ray job submit``; each calls :func:`vapray.cli.app.run_job`."""
