#!/usr/bin/env bash
# pull.sh ANSWER_SECONDS PULL_SECONDS IMAGE...: pulls them side by side and says of each "pulled IMAGE" or
# "failed IMAGE REASON". A registry that does not say within ANSWER_SECONDS that it has the image counts as none.
set -Euo pipefail

answer_seconds=$1 pull_seconds=$2
shift 2

pull() {
  local image=$1 log=$2 pid reason='' deadline=$((SECONDS + answer_seconds)) end=$((SECONDS + pull_seconds))
  docker pull "$image" >"$log" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if ((SECONDS >= end)); then
      reason="not here after $pull_seconds s"
    elif ((SECONDS >= deadline)) && ! grep -q 'Pulling from' "$log"; then
      reason="no answer within $answer_seconds s"
    fi
    if [[ -n $reason ]]; then
      kill "$pid" 2>/dev/null
      break
    fi
    sleep 0.2
  done
  if wait "$pid" && [[ -z $reason ]]; then
    printf 'pulled %s\n' "$image"
  else
    printf 'failed %s %s\n' "$image" "${reason:-$(sed '/^$/d' "$log" | tail -n 1)}"
  fi
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
number=0
for image; do
  number=$((number + 1))
  pull "$image" "$folder/$number" &
done
wait
