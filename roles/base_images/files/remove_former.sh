#!/usr/bin/env bash
# remove_former.sh IMAGE...: removes the stand-ins of the same names and tags that were built from other inputs, unless a
# container uses them, and says "removed IMAGE" of each.
set -Eeuo pipefail

for image; do
  stem=${image%-*}
  while IFS= read -r former; do
    [[ $former != "$image" && ${former#"$stem"-} =~ ^[0-9a-f]{12}$ ]] || continue
    # An image with a second name loses this one without being asked who uses it.
    [[ -z $(docker ps --all --quiet --filter "ancestor=$former") ]] || continue
    if docker image rm "$former" >/dev/null 2>&1; then printf 'removed %s\n' "$former"; fi
  done < <(docker image ls --format '{{.Repository}}:{{.Tag}}')
done
