#!/bin/sh
# inspect.sh IMAGE...: says what the host has, one thing a line; reads only.
dpkg --print-architecture 2>/dev/null | sed 's/^/architecture /'
if [ -r /etc/os-release ]; then
  # shellcheck source=/dev/null
  (. /etc/os-release && printf 'system %s%s\n' "$ID" "${VERSION_ID:-}")
fi
if engine=$(docker version --format '{{.Server.Version}}' 2>&1); then
  printf 'engine %s\n' "$engine"
  docker image ls --format 'image {{.Repository}}:{{.Tag}}'
  # The engine knows an image by more names than it lists: with a registry, with a digest.
  for image; do
    if docker image inspect --format '{{.Id}}' "$image" >/dev/null 2>&1; then printf 'image %s\n' "$image"; fi
  done
else
  printf '%s\n' "$engine" | sed '/^$/d' | tail -n 1 | sed 's/^/no-engine /'
fi
