#!/bin/sh
# inspect.sh IMAGE...: says what the host has, one thing a line; reads only.
# The engine knows an image by more names than it lists: with a registry, with a digest. All are asked for at once.
if [ $# -gt 0 ]; then
  {
    if [ "$(docker image inspect --format '{{.Id}}' "$@" 2>/dev/null | wc -l)" -gt 0 ]; then
      for image; do
        if docker image inspect --format '{{.Id}}' "$image" >/dev/null 2>&1; then printf 'image %s\n' "$image"; fi
      done
    fi
  } &
fi
dpkg --print-architecture 2>/dev/null | sed 's/^/architecture /'
if [ -r /etc/os-release ]; then
  # shellcheck source=/dev/null
  (. /etc/os-release && printf 'system %s%s\n' "$ID" "${VERSION_ID:-}")
fi
if listed=$(docker image ls --format 'image {{.Repository}}:{{.Tag}}' 2>&1); then
  printf 'engine answers\n%s\n' "$listed"
else
  printf '%s\n' "$listed" | sed '/^$/d' | tail -n 1 | sed 's/^/no-engine /'
fi
wait
