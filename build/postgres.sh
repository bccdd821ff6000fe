# A real Postgres server for a command: sourced by build.sh and build/test.sh.
# shellcheck shell=bash disable=SC2154

postgres_17=$cache/postgres-17-trixie

# with_postgres [OPTION…] -- COMMAND…: on a server of its own, see postgres_server.ts.
with_postgres() {
  "$deno" run --allow-all --no-check tests/stack/postgres_server.ts "$@"
}

# with_postgres_17 [OPTION…] -- COMMAND…
with_postgres_17() {
  with_postgres --root "$postgres_17" --version 17 "$@"
}

may_have_postgres_17() {
  [ "$(id -u)" = 0 ] && { [ -d "$postgres_17" ] || command -v debootstrap >/dev/null; }
}

# Postgres 17 with pg_cron, as Debian trixie packages them, in a folder of its
# own, whatever this machine runs.
install_postgres_17() {
  local mirror new
  may_have_postgres_17 ||
    die "Postgres 17 takes root and debootstrap: apt-get install debootstrap"
  if [ -d "$postgres_17" ]; then return; fi
  # From where this machine's own packages come, if that is Debian.
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 2>/dev/null |
    awk 'NR == 1') || true
  mkdir -p "$cache"
  new=$(mktemp -d "$postgres_17.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$new'" EXIT
  debootstrap --variant=minbase --include=postgresql-17,postgresql-17-cron \
    trixie "$new" ${mirror:+"$mirror"}
  rm -rf "$new"/var/cache/apt/* "$new"/var/lib/apt/lists/*
  chmod 755 "$new"
  mv -T "$new" "$postgres_17"
}
