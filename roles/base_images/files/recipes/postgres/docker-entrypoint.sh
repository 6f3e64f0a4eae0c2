#!/usr/bin/env bash
# Start of a PostgreSQL container: makes the database cluster on an empty volume, then becomes the server.
# Settings: POSTGRES_PASSWORD, _USER, _DB, _INITDB_ARGS (each also as <name>_FILE), _INITDB_WALDIR, _HOST_AUTH_METHOD.
set -Eeo pipefail

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# setting NAME [DEFAULT]: puts the value of NAME, or the content of the file that NAME_FILE names, into NAME.
setting() {
  local name=$1 file=$1_FILE
  [[ -z ${!name:-} || -z ${!file:-} ]] || fail "$name and $file are both set; set one of them."
  if [[ -n ${!file:-} ]]; then
    [[ -r ${!file} ]] || fail "$file is ${!file}, which uid $(id -u) cannot read; mount a file that it can."
    printf -v "$name" '%s' "$(<"${!file}")"
  elif [[ -z ${!name:-} ]]; then
    printf -v "$name" '%s' "${2:-}"
  fi
  unset "$file"
}

read_settings() {
  setting POSTGRES_PASSWORD
  setting POSTGRES_USER postgres
  setting POSTGRES_DB "$POSTGRES_USER"
  setting POSTGRES_INITDB_ARGS
  : "${POSTGRES_HOST_AUTH_METHOD:=}"
}

wants_server() {
  local argument
  [[ ${1:-} == postgres ]] || return 1
  for argument; do
    case $argument in
      -'?' | --help | --describe-config | -V | --version) return 1 ;;
    esac
  done
}

prepare_folders() {
  local folders=("$PGDATA" /var/run/postgresql)
  [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || folders+=("$POSTGRES_INITDB_WALDIR")
  mkdir -p "${folders[@]}"
  if [[ $(id -u) == 0 ]]; then
    find "${folders[@]}" ! -user postgres -exec chown postgres:postgres {} +
  fi
  # Under an unprivileged user these two may already be as they must, and not ours to change.
  chmod 0700 "$PGDATA" || :
  chmod 3775 /var/run/postgresql 2>/dev/null || :
}

check_password() {
  [[ -n $POSTGRES_PASSWORD || $POSTGRES_HOST_AUTH_METHOD == trust ]] || fail \
    "POSTGRES_PASSWORD is empty and $PGDATA holds no database; set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE." \
    "(POSTGRES_HOST_AUTH_METHOD=trust lets everybody in without one.)"
}

create_cluster() {
  local -a arguments
  # Quotes inside the variable count, as on a command line.
  eval "arguments=($POSTGRES_INITDB_ARGS)"
  [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || arguments+=("--waldir=$POSTGRES_INITDB_WALDIR")
  if [[ -n $POSTGRES_PASSWORD ]]; then
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
  else
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" "${arguments[@]}"
  fi
}

# Logins over the network; initdb itself allows the loopback addresses and the socket only.
allow_network() {
  local method=$POSTGRES_HOST_AUTH_METHOD
  [[ -n $method ]] || method=$("$@" -C password_encryption)
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# query DATABASE [psql options], over the socket.
query() {
  local database=$1
  shift
  PGHOST='' PGHOSTADDR='' PGDATABASE=$database \
    psql --set=ON_ERROR_STOP=1 --no-psqlrc --no-password --username="$POSTGRES_USER" "$@"
}

# The name under which scripts in /docker-entrypoint-initdb.d expect it.
docker_process_sql() {
  query "$POSTGRES_DB" "$@"
}

create_database() {
  local exists
  exists=$(query postgres --tuples-only --no-align --set=name="$POSTGRES_DB" \
    <<<"SELECT 1 FROM pg_database WHERE datname = :'name'")
  [[ $exists == 1 ]] || query postgres --set=name="$POSTGRES_DB" <<<'CREATE DATABASE :"name"'
}

run_init_files() {
  local file
  for file; do
    printf '%s: %s\n' "$0" "$file"
    case $file in
      *.sh) run_script "$file" ;;
      *.sql) docker_process_sql --file="$file" ;;
      *.sql.gz) gunzip --stdout "$file" | docker_process_sql ;;
      *.sql.xz) xz --decompress --stdout "$file" | docker_process_sql ;;
      *.sql.zst) zstd --decompress --stdout "$file" | docker_process_sql ;;
      *) printf '%s: ignored, it is neither *.sh nor *.sql, *.sql.gz, *.sql.xz, *.sql.zst\n' "$0" ;;
    esac
  done
}

run_script() {
  if [[ -x $1 ]]; then
    "$1"
  else
    # shellcheck source=/dev/null
    . "$1"
  fi
}

stop_temporary_server() {
  pg_ctl --pgdata="$PGDATA" --mode=fast --wait --silent stop
}

# Without TCP, so that nobody takes a half-made database for a ready one.
start_temporary_server() {
  local server
  "$@" -c listen_addresses= &
  server=$!
  trap 'stop_temporary_server || :' EXIT
  until pg_isready --quiet --host=/var/run/postgresql --port="${PGPORT:-5432}"; do
    kill -0 "$server" 2>/dev/null || fail "The temporary server ended before it was ready; its messages are above."
    sleep 0.1
  done
}

# In a subshell: neither the password that init files get nor anything that they set reaches the server.
initialise() (
  trap - EXIT
  shopt -s nullglob
  check_password
  create_cluster
  allow_network "$@"
  export POSTGRES_USER POSTGRES_DB POSTGRES_PASSWORD PGPASSWORD=$POSTGRES_PASSWORD
  start_temporary_server "$@"
  create_database
  run_init_files /docker-entrypoint-initdb.d/*
  trap - EXIT
  stop_temporary_server
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
)

main() {
  # `docker run <image> -c name=value` is the server with an option.
  [[ ${1:-} != -* ]] || set -- postgres "$@"
  if wants_server "$@"; then
    read_settings
    prepare_folders
    if [[ $(id -u) == 0 ]]; then
      # A password file may be readable for root alone.
      export POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS
      exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
    fi
    if [[ -s $PGDATA/PG_VERSION ]]; then
      printf '\nPostgreSQL finds its database in %s; initialisation is skipped.\n\n' "$PGDATA"
    else
      initialise "$@"
    fi
    unset POSTGRES_PASSWORD
  fi
  exec "$@"
}

# Sourced by an init script, it gives its functions and starts nothing.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  main "$@"
fi
