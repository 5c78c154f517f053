"""What the audit has to find out about a sample of captioned pictures, before anything is judged."""
