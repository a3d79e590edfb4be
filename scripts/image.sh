#!/bin/sh
# Builds the image of docker/Dockerfile with docker or podman (CONTAINER_ENGINE picks one) as openregister-webhooks:VERSION and :latest.
# IMAGE names it otherwise, with a registry for example; MAINTAINER says who answers for it, and SOURCE_URL where its source is.
# IMAGE_BUILD_ARGS has further arguments, for example --build-arg RUST_IMAGE=registry.example.org/rust:1.
. "$(dirname "$0")/common.sh"
find_engine || fail "neither docker nor podman works here; install one of them, or name it in CONTAINER_ENGINE"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
# The time of the commit, and not of the build: the same source gives the same labels.
created=$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u +%Y-%m-%dT%H:%M:%SZ)
name=${IMAGE:-openregister-webhooks}
# The form of podman's images by default has no health check.
case "$engine" in *podman) format="--format docker" ;; *) format= ;; esac
# shellcheck disable=SC2086  # several arguments are meant
"$engine" build $format --file docker/Dockerfile --tag "$name:$version" --tag "$name:latest" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" \
    --build-arg "MAINTAINER=${MAINTAINER:-$(maintainer)}" \
    ${SOURCE_URL:+--label "org.opencontainers.image.source=$SOURCE_URL"} ${IMAGE_BUILD_ARGS:-} .
size=$("$engine" image inspect --format '{{.Size}}' "$name:latest")
say "$name:$version, $((size / 1000 / 1000)) MB"
