"""Evaluation records: JSON and Parquet files in the state folder of the service; independent of Ray and HTTP."""
