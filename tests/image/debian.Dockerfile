# A Debian with systemd, as a server has it, with PostgreSQL and what a test needs: scripts/test_deb.sh installs the package in it.
ARG DEBIAN_IMAGE=docker.io/library/debian:bookworm-slim

# In a Debian that has nothing else, apt finds all that the package needs, and the program starts.
FROM ${DEBIAN_IMAGE} AS bare
COPY openregister-webhooks.deb /tmp/
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/openregister-webhooks.deb && openregister-webhooks --version >/checked

FROM ${DEBIAN_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends adduser ca-certificates curl dbus man-db postgresql procps systemd systemd-sysv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=bare /checked /
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
