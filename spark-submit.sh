#!/usr/bin/env bash
# Run a promo_spark job with everything that it needs in place.
# Works from any directory, and hands what it does not know to the real spark-submit. See ./spark-submit.sh --help.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/scripts/environment.sh"

# A run is many short queries: compiling each to the utmost costs more than it saves, loops over many rows are
# still found. Room for all compiled code, because what is dropped is compiled again. The collector that is made
# for batch work takes less CPU time, and two thirds of the memory.
JAVA_TUNING="-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 -XX:Tier4CompileThreshold=150000"
JAVA_TUNING+=" -XX:Tier4BackEdgeThreshold=400000 -XX:ReservedCodeCacheSize=512m"

usage() {
  cat <<'TEXT'
Run a promo_spark job.

  ./spark-submit.sh [spark-submit options] JOB [job options]

  ./spark-submit.sh jobs/pipeline.py --config conf/local.yaml
  ./spark-submit.sh jobs/pipeline.py --help
  ./spark-submit.sh --master spark://host:7077 jobs/plan.py --config conf/cluster.yaml

Jobs:
TEXT
  local job
  for job in "$PROJECT_ROOT"/jobs/*.py; do
    if [[ -f $job ]]; then printf '  %-24s %s\n' "jobs/$(basename "$job")" "$(first_docstring_line "$job")"; fi
  done
  cat <<'TEXT'

The first run makes the Python environment (.venv), finds Java 17 or 21 and fetches Delta's jars; later runs
need no network. Options before JOB are spark-submit's own (--master, --conf, --jars, ...), all are allowed;
what stands after JOB belongs to the job.

  PROMO_SPARK_DRIVER_MEMORY   memory of the driver, 4g unless set; --driver-memory wins
  PROMO_SPARK_VENV            a Python environment to use instead of .venv
  PYSPARK_PYTHON              the executors' Python; left alone where set, or where --archives brings one
TEXT
}

first_docstring_line() { awk '/^"""/ { sub(/^"""/, ""); sub(/"""$/, ""); print; exit }' "$1"; }

# read_options ARGUMENT...: look at what stands before the job. Fills
#   OPTIONS               spark-submit's options, as given, but for the two lists below
#   JARS, PY_FILES        the user's own, to be joined with ours: spark-submit takes only the last it is given
#   JOB                   the job and its options
#   BRINGS_PYTHON, ...    what the user has settled and we therefore leave alone
read_options() {
  OPTIONS=() JARS="" PY_FILES="" JOB=()
  WANTS_USAGE=false HAS_DRIVER_MEMORY=false HAS_JAVA_OPTIONS=false BRINGS_PYTHON=false IS_CLUSTER_MODE=false
  while (($# > 0)); do
    case $1 in
      --help | -h) WANTS_USAGE=true ;;
      --version | --verbose | -v | --supervise | --load-spark-defaults) OPTIONS+=("$1") ;; # these have no value
      --*=*)
        set -- "${1%%=*}" "${1#*=}" "${@:2}"
        continue
        ;;
      -*)
        (($# > 1)) || fail "$1 wants a value." "where: the options before the job" "see: ./spark-submit.sh --help"
        read_option "$1" "$2"
        shift
        ;;
      *)
        JOB=("$@")
        return
        ;;
    esac
    shift
  done
}

# read_option NAME VALUE
read_option() {
  case $1 in
    --jars) JARS="$JARS,$2" ;;
    --py-files) PY_FILES="$PY_FILES,$2" ;;
    --conf | -c) read_conf "$2" ;;
    *) OPTIONS+=("$1" "$2") ;;
  esac
  case $1 in
    --driver-memory) HAS_DRIVER_MEMORY=true ;;
    --driver-java-options | --properties-file) HAS_JAVA_OPTIONS=true ;;
    --archives) BRINGS_PYTHON=true ;;
    --deploy-mode) [[ $2 != cluster ]] || IS_CLUSTER_MODE=true ;;
  esac
}

# read_conf KEY=VALUE: the settings that say the same as an option.
read_conf() {
  case $1 in
    spark.jars=*) JARS="$JARS,${1#*=}" ;;
    spark.submit.pyFiles=*) PY_FILES="$PY_FILES,${1#*=}" ;;
    *) OPTIONS+=(--conf "$1") ;;
  esac
  case $1 in
    spark.driver.memory=*) HAS_DRIVER_MEMORY=true ;;
    spark.driver.extraJavaOptions=* | spark.driver.defaultJavaOptions=*) HAS_JAVA_OPTIONS=true ;;
    spark.archives=* | spark.pyspark.python=*) BRINGS_PYTHON=true ;;
    spark.submit.deployMode=cluster) IS_CLUSTER_MODE=true ;;
  esac
}

# Print the zip of promo_spark that executors import from; a new one only where the code has changed.
build_zip() {
  "$VENV/bin/python" - "$PROJECT_ROOT" "$VENV" <<'PYTHON'
import hashlib, os, sys, zipfile
from pathlib import Path

root, folder = map(Path, sys.argv[1:])
members = {
    path.relative_to(root).as_posix(): path.read_bytes()
    for path in sorted((root / "promo_spark").rglob("*"))
    if path.is_file() and path.suffix != ".pyc"
}
digest = hashlib.sha256()
for name, content in members.items():
    digest.update(b"%d %s %d " % (len(name), name.encode(), len(content)) + content)
target = folder / f"promo_spark-{digest.hexdigest()[:16]}.zip"
if not target.exists():
    new = folder / f"{target.name}.{os.getpid()}"
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    new.replace(target)
print(target)
PYTHON
}

# The driver runs in our environment, and so do executors on this machine. What the user says about Python
# holds; --archives says that executors bring theirs.
choose_python() {
  if ! $BRINGS_PYTHON; then export PYSPARK_PYTHON="${PYSPARK_PYTHON:-$VENV/bin/python}"; fi
  # As a setting, because spark.pyspark.python, meant for the executors, would else be the driver's as well.
  if ! $IS_CLUSTER_MODE; then
    OURS+=(--conf "spark.pyspark.driver.python=${PYSPARK_DRIVER_PYTHON:-$VENV/bin/python}")
  fi
}

# SPARK_SUBMIT_OPTS reaches the driver's JVM before, and so yields to, the user's own Java options.
quiet_logging() {
  if [[ ${SPARK_SUBMIT_OPTS:-} == *log4j* || -f ${SPARK_CONF_DIR:-}/log4j2.properties ]]; then return; fi
  export SPARK_SUBMIT_OPTS="\"-Dlog4j2.configurationFile=$PROJECT_ROOT/conf/log4j2.properties\" ${SPARK_SUBMIT_OPTS:-}"
}

# Whether the user's own Java options, wherever the JVM finds them, name a collector.
chooses_collector() {
  local defaults="${SPARK_CONF_DIR:-$(spark_home)/conf}/spark-defaults.conf"
  grep -qs -- '-XX:+Use[A-Za-z0-9]*GC' "$defaults" - \
    <<<"${JAVA_TOOL_OPTIONS:-} ${JDK_JAVA_OPTIONS:-} ${SPARK_SUBMIT_OPTS:-}"
}

# list_of FILE... : joined by commas.
list_of() {
  local IFS=,
  printf '%s\n' "$*"
}

main() {
  read_options "$@"
  if $WANTS_USAGE || (($# == 0)); then
    usage
    return
  fi

  ensure_environment requirements.txt
  ensure_java
  ensure_delta_jars
  ensure_local_address

  local zip
  zip="$(build_zip)" || fail "promo_spark could not be packed for the executors." \
    "where: $PROJECT_ROOT/promo_spark into $VENV" "fix: see the lines above"
  # Before the user's options, because spark-submit lets the last of two win.
  OURS=(
    --jars "$(list_of "$DELTA_JARS"/*.jar)$JARS"
    --py-files "$zip$PY_FILES"
    --conf spark.ui.showConsoleProgress=false
  )
  # Who has options of their own has none of ours. A second collector would stop the JVM.
  chooses_collector || JAVA_TUNING+=" -XX:+UseParallelGC"
  $HAS_JAVA_OPTIONS || OURS+=(--conf "spark.driver.defaultJavaOptions=$JAVA_TUNING")
  $HAS_DRIVER_MEMORY || OURS+=(--driver-memory "${PROMO_SPARK_DRIVER_MEMORY:-4g}")
  choose_python
  quiet_logging
  SPARK_HOME="$(spark_home)" # the locked Spark, whatever else is on the machine
  export SPARK_HOME PYTHONPATH="$PROJECT_ROOT${PYTHONPATH:+:$PYTHONPATH}"
  exec "$SPARK_HOME/bin/spark-submit" "${OURS[@]}" ${OPTIONS[@]+"${OPTIONS[@]}"} ${JOB[@]+"${JOB[@]}"}
}

main "$@"
