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
EXPOSE 7440 7441
HEALTHCHECK --interval=10s --timeout=5s \
    CMD ["python", "-c", "import grpc; grpc.channel_ready_future(grpc.insecure_channel('127.0.0.1:7440')).result(4)"]
ENTRYPOINT ["tailrace"]
CMD ["server", "--listen", "0.0.0.0:7440"]
