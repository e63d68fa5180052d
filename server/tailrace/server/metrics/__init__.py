"""What this process counts and measures, and how Prometheus gets it. Nothing else knows of Prometheus."""
