"""The edge: wire messages in, domain values through, wire messages out. The only place that knows gRPC."""
