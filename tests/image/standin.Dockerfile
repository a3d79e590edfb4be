# Stands in for the images of Nextcloud and n8n where docker/compose.yaml is tested: as much of their interface as that file uses.
ARG DEBIAN_IMAGE=docker.io/library/debian:bookworm-slim
FROM ${DEBIAN_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends curl postgresql-client python3 && rm -rf /var/lib/apt/lists/*
COPY tests/image/standin-php.sh /usr/local/bin/php
COPY tests/image/standin-entrypoint.sh tests/image/standin.py /usr/local/bin/
COPY crates/testkit/src/sql/openregister-0.2.13.sql crates/testkit/src/sql/seed.sql /srv/
RUN mkdir -p /var/www/html /home/node/.n8n
ENTRYPOINT ["/usr/local/bin/standin-entrypoint.sh"]
