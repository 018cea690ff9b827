# shellcheck shell=bash
# What promo_spark needs on a machine: Python packages, Java and Delta's jars.
#
# Sourced by spark-submit.sh and the Makefile; sourcing it does nothing but define functions:
#
#   ensure_environment LOCK   the packages of LOCK (requirements.txt or requirements-dev.txt) in $VENV
#   ensure_java               Java 17 or 21, exported as JAVA_HOME
#   ensure_delta_jars         Delta's two jars in $DELTA_JARS
#   ensure_fault_tools        what only `make faults` needs: a PostgreSQL, and jars for it and for S3 in $FAULTS
#   ensure_local_address      SPARK_LOCAL_IP, on a machine whose own name leads nowhere
#
# Each finds out first whether there is anything to do, so that a second call is quick and needs no network.
# Each stops with exit status 2 and one message (what, where, how to fix) when it cannot do its work.
# Kept to what bash 3.2 knows, because that is what macOS has.

PROJECT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="${PROMO_SPARK_VENV:-$PROJECT_ROOT/.venv}" # PROMO_SPARK_VENV names an environment to use instead
[[ $VENV == /* ]] || VENV="$PWD/$VENV"
DELTA_JARS="$VENV/delta-jars"
FAULTS="${PROMO_SPARK_FAULTS:-$PROJECT_ROOT/.venv-faults}"

DELTA_PACKAGES="io.delta:delta-spark_4.1_2.13:4.3.1,io.delta:delta-storage:4.3.1"
# What Delta's jar names as dependencies and Spark already has, or only Unity Catalog needs.
DELTA_EXCLUDES="io.unitycatalog:*,io.delta:delta-kernel-*,org.*:*,com.*:*"

say() { printf 'promo_spark: %s\n' "$*" >&2; }

# fail WHAT DETAIL...: one message, first line what, then where and how to fix.
fail() {
  say "$1"
  shift
  printf '  %s\n' "$@" >&2
  exit 2
}

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# only_one_at_a_time COMMAND...: two first runs at once must not install into the same place.
only_one_at_a_time() {
  mkdir -p "$VENV"
  (
    if command -v flock >/dev/null; then flock 9; fi
    "$@"
  ) 9>"$VENV/.lock" || exit $?
}

# ---- Python and its packages ----

is_usable_python() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${PROMO_SPARK_PYTHON:+"$PROMO_SPARK_PYTHON"} python3.11 python3.12 python3.13 python3 python; do
    if is_usable_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer was not found." \
    "looked for: python3.11, python3.12, python3.13, python3 and python on PATH" \
    "Debian, Ubuntu: sudo apt-get install python3 python3-venv" \
    "Fedora, RHEL:   sudo dnf install python3.11" \
    "macOS:          brew install python@3.11" \
    "or name one:    export PROMO_SPARK_PYTHON=/path/to/python3"
}

find_uv() {
  command -v uv || { [[ -x $VENV/bin/uv ]] && printf '%s\n' "$VENV/bin/uv"; }
}

create_venv() {
  local python
  python="$(find_python)" || exit $?
  say "making a Python environment in $VENV with $python"
  "$python" -m venv "$VENV" >&2 || fail "The Python environment could not be made." \
    "where: $VENV" \
    "Debian and Ubuntu keep venv in a package of its own: sudo apt-get install python3-venv" \
    "elsewhere: see the lines above; delete $VENV before the next try"
  is_usable_python "$VENV/bin/python" || fail "The Python environment is of a Python older than 3.11." \
    "where: $VENV" "fix: delete it and run this again"
}

stamp_of() { printf '%s\n' "$VENV/.$(basename "$1").sha256"; }

lock_hash() { sha256 <"$PROJECT_ROOT/$1"; }

is_installed() {
  [[ -x $VENV/bin/python && -f $(stamp_of "$1") && $(<"$(stamp_of "$1")") == "$(lock_hash "$1")" ]]
}

install_lock() {
  local lock=$1 uv
  if is_installed "$lock"; then return; fi # another process was first
  if ! is_usable_python "$VENV/bin/python"; then create_venv; fi
  say "installing the packages of $lock into $VENV (once; some minutes)"
  if uv="$(find_uv)"; then
    "$uv" pip install --quiet --python "$VENV/bin/python" --compile-bytecode \
      --require-hashes --requirements "$PROJECT_ROOT/$lock" >&2
  else
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip >&2
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
      --require-hashes --requirement "$PROJECT_ROOT/$lock" >&2
  fi || fail "The Python packages could not be installed." \
    "where: $lock into $VENV; the reason stands above" \
    "The first run needs a package index: check the network, or point pip at a mirror (PIP_INDEX_URL, UV_INDEX_URL)." \
    "If a hash does not match, the index serves another file than the one that was locked."
  lock_hash "$lock" >"$(stamp_of "$lock")"
  # The development lock holds everything that the runtime lock holds.
  if [[ $lock == requirements-dev.txt ]]; then lock_hash requirements.txt >"$(stamp_of requirements.txt)"; fi
}

ensure_environment() {
  if ! is_installed "$1"; then only_one_at_a_time install_lock "$1"; fi
}

# ---- Java ----

# java_facts JAVA: "<major version> <home>" of a java command, nothing when it does not run.
java_facts() {
  "$1" -XshowSettings:properties -version 2>&1 | awk -F' = ' '
    $1 ~ /java\.specification\.version$/ { version = $2 }
    $1 ~ /java\.home$/ { home = $2 }
    END { if (version != "" && home != "") print version, home }' || true
}

# Every place where a Java may be, best first, one a line.
java_candidates() {
  if [[ -n ${JAVA_HOME:-} ]]; then printf '%s\n' "$JAVA_HOME/bin/java"; fi
  command -v java || true
  if [[ -x /usr/libexec/java_home ]]; then
    local version home
    for version in 17 21; do
      if home="$(/usr/libexec/java_home -v "$version" 2>/dev/null)"; then printf '%s\n' "$home/bin/java"; fi
    done
  fi
  local place
  for place in /usr/lib/jvm/*17* /usr/lib/jvm/*21* /usr/java/*17* /usr/java/*21* /opt/java/openjdk /opt/*jdk*17* /opt/*jdk*21* \
    /opt/homebrew/opt/openjdk@17 /opt/homebrew/opt/openjdk@21 /usr/local/opt/openjdk@17 /usr/local/opt/openjdk@21 \
    "${HOME:-/root}"/.sdkman/candidates/java/17* "${HOME:-/root}"/.sdkman/candidates/java/21*; do
    printf '%s\n' "$place/bin/java"
  done
}

# find_java: export JAVA_HOME and succeed, or leave in JAVA_SEEN what was found instead.
find_java() {
  JAVA_SEEN=""
  local java facts
  while IFS= read -r java; do
    [[ -x $java ]] || continue
    facts="$(java_facts "$java")"
    case $facts in
      "17 "* | "21 "*)
        export JAVA_HOME="${facts#* }"
        if [[ -n $JAVA_SEEN ]]; then say "using Java in $JAVA_HOME, not:$JAVA_SEEN"; fi
        return 0
        ;;
      "") JAVA_SEEN="$JAVA_SEEN $java (does not run)" ;;
      *) JAVA_SEEN="$JAVA_SEEN $java (version ${facts%% *})" ;;
    esac
  done < <(java_candidates)
  return 1
}

install_java() {
  say "Java 17 or 21 was not found; running as root, so installing it with apt-get"
  {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends openjdk-17-jre-headless ||
      DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends openjdk-21-jre-headless
  } >&2 </dev/null || true # find_java is the judge
}

ensure_java() {
  if find_java; then return; fi
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    install_java
    if find_java; then return; fi
  fi
  fail "Java 17 or 21 was not found; Spark 4.1 runs on no other." \
    "looked at: JAVA_HOME (${JAVA_HOME:-unset}), java on PATH, the usual folders; found:${JAVA_SEEN:- nothing}" \
    "Debian, Ubuntu: sudo apt-get install openjdk-17-jre-headless   (Debian 13: openjdk-21-jre-headless)" \
    "Fedora, RHEL:   sudo dnf install java-21-openjdk-headless      (RHEL 8 and 9 also: java-17-openjdk-headless)" \
    "macOS:          brew install openjdk@17" \
    "or name one:    export JAVA_HOME=/path/to/jdk-17"
}

# ---- Delta's jars ----

spark_home() {
  local home
  for home in "$VENV"/lib/python3*/site-packages/pyspark; do
    if [[ -x $home/bin/spark-submit ]]; then
      printf '%s\n' "$home"
      return
    fi
  done
  fail "pyspark is not in the Python environment." "where: $VENV" "fix: delete $VENV and run this again"
}

# has_delta_jars FOLDER: the right bytes are there.
has_delta_jars() {
  [[ -d $1 ]] && (cd "$1" && sha256 -c "$PROJECT_ROOT/scripts/delta-jars.sha256") >/dev/null 2>&1
}

fetch_delta_jars() {
  if has_delta_jars "$DELTA_JARS"; then return; fi # another process was first
  local work="$VENV/delta-jars.new" home jar name
  home="$(spark_home)" || exit $?
  say "fetching Delta's two jars into $DELTA_JARS (once)"
  rm -rf "$work"
  mkdir -p "$work/jars"
  printf 'pass\n' >"$work/nothing.py"
  ensure_local_address
  # Spark resolves packages before it starts a job; this job does nothing and starts no session.
  SPARK_HOME="$home" PYSPARK_PYTHON="$VENV/bin/python" PYSPARK_DRIVER_PYTHON="$VENV/bin/python" \
    "$home/bin/spark-submit" --master 'local[1]' --packages "$DELTA_PACKAGES" \
    --exclude-packages "$DELTA_EXCLUDES" --conf "spark.jars.ivy=$work/ivy" \
    "$work/nothing.py" >"$work/log" 2>&1 </dev/null || true # has_delta_jars is the judge
  while read -r _ name; do
    for jar in "$work/ivy/jars"/*_"$name"; do
      if [[ -f $jar ]]; then mv "$jar" "$work/jars/$name"; fi
    done
  done <"$PROJECT_ROOT/scripts/delta-jars.sha256"
  if ! has_delta_jars "$work/jars"; then
    grep -v '^[[:space:]]*at ' "$work/log" | tail -n 12 >&2
    fail "Delta's jars could not be fetched, or are not the recorded ones." \
      "where: $DELTA_PACKAGES; the end of the resolver's log stands above, all of it is in $work/log" \
      "The first run needs a Maven repository; a mirror is named by spark.jars.ivySettings in \$SPARK_CONF_DIR/spark-defaults.conf." \
      "Without a network, copy the files named in scripts/delta-jars.sha256 into $DELTA_JARS."
  fi
  rm -rf "$DELTA_JARS"
  mv "$work/jars" "$DELTA_JARS"
  rm -rf "$work"
}

ensure_delta_jars() {
  if ! has_delta_jars "$DELTA_JARS"; then only_one_at_a_time fetch_delta_jars; fi
}

# ---- What only the tests of faults need ----

# fetch_jars FOLDER PACKAGES NAME...: the jars of Maven packages whose names begin so.
fetch_jars() {
  local folder=$1 packages=$2 work="$1.new" home name
  shift 2
  if [[ -d $folder ]]; then return; fi
  home="$(spark_home)" || exit $?
  say "fetching $packages into $folder (once)"
  rm -rf "$work"
  mkdir -p "$work/jars"
  printf 'pass\n' >"$work/nothing.py"
  SPARK_HOME="$home" PYSPARK_PYTHON="$VENV/bin/python" PYSPARK_DRIVER_PYTHON="$VENV/bin/python" \
    "$home/bin/spark-submit" --master 'local[1]' --packages "$packages" --conf "spark.jars.ivy=$work/ivy" \
    "$work/nothing.py" >"$work/log" 2>&1 </dev/null || true # whether the jars are there is the judge
  for name; do
    if ! mv "$work/ivy/jars"/*_"$name"*.jar "$work/jars/"; then
      say "$name could not be fetched: the tests that need it are skipped; the resolver's log is $work/log"
      return
    fi
  done
  mv "$work/jars" "$folder"
  rm -rf "$work"
}

install_postgres() {
  say "no PostgreSQL was found; running as root, so installing it with apt-get"
  {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql
  } >&2 </dev/null || say "PostgreSQL could not be installed: the tests that need it are skipped"
}

# A test whose tool is not to be had says so and is skipped.
ensure_fault_tools() {
  ensure_local_address
  mkdir -p "$FAULTS"
  fetch_jars "$FAULTS/driver-jars" org.postgresql:postgresql:42.7.4 postgresql
  fetch_jars "$FAULTS/s3-jars" org.apache.hadoop:hadoop-aws:3.4.2 hadoop-aws bundle analyticsaccelerator-s3
  if command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then return; fi
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then install_postgres; fi
}

# ---- Network ----

# Spark listens on the address that the host's name stands for. Where the name is unknown, or stands for an
# address that this machine does not have now (a laptop off its network), only the loopback is left.
ensure_local_address() {
  if [[ -n ${SPARK_LOCAL_IP:-} ]]; then return; fi
  "$VENV/bin/python" -c 'import socket; socket.socket().bind((socket.gethostbyname(socket.gethostname()), 0))' \
    2>/dev/null || export SPARK_LOCAL_IP=127.0.0.1
}
