FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/tailrace && /opt/tailrace/bin/pip install --no-cache-dir --constraint constraints.txt '.[server]'

FROM python:3.11-slim
COPY --from=build /opt/tailrace /opt/tailrace
ENV PATH=/opt/tailrace/bin:$PATH XDG_STATE_HOME=/var/lib
# The embedded store lives in /var/lib/tailrace unless --store names another one.
RUN useradd --system tailrace && install --directory --owner=tailrace /var/lib/tailrace
USER tailrace
VOLUME /var/lib/tailrace
EXPOSE 7440
HEALTHCHECK --interval=10s --timeout=5s \
    CMD ["python", "-c", "import grpc; from grpc_health.v1 import health_pb2 as pb, health_pb2_grpc as stubs; answer = stubs.HealthStub(grpc.insecure_channel('127.0.0.1:7440')).Check(pb.HealthCheckRequest(), timeout=4); raise SystemExit(answer.status != pb.HealthCheckResponse.SERVING)"]
ENTRYPOINT ["tailrace"]
CMD ["server", "--listen", "0.0.0.0:7440"]
