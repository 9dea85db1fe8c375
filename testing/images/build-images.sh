#!/bin/sh
# Makes local/kafka and local/redis out of this machine's JDK, redis-server, busybox and Kafka's jars; pulls nothing.
# For machines that reach no image registry. Use: build-images.sh [FOLDER_WITH_KAFKA_JARS]; without it Maven fetches them.
set -eu
version=4.3.0
pom=$(dirname "$0")/../pom.xml
jars=${1:-}

for tool in docker busybox redis-server redis-cli java jlink jar ldd; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is needed and not installed" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# base ROOT BINARY...: busybox, the name service files, and the shared libraries that the binaries need
base() {
  root=$1
  shift
  mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/data"
  chmod 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
  for lib in $(ldd "$@" 2>/dev/null | sed -nE 's/.*=> (\/[^ ]+) .*/\1/p; s/^[[:space:]]+(\/[^ ]+) \(.*/\1/p' | sort -u); do
    case $lib in
      "$root"/*) ;;
      *)
        mkdir -p "$root${lib%/*}"
        cp -L "$lib" "$root$lib"
        ;;
    esac
  done
}

# load ROOT TAG [--change INSTRUCTION]...: the folder becomes an image of one layer (needs no builder)
load() {
  root=$1 tag=$2
  shift 2
  tar -C "$root" --owner=0 --group=0 --numeric-owner -c . >"$work/layer.tar"
  docker import "$@" "$work/layer.tar" "$tag" >/dev/null
  rm "$work/layer.tar"
  echo "built $tag"
}

kafka() {
  k=$work/kafka
  mkdir -p "$k/opt/kafka/config" "$k/opt/kafka/libs" "$k/etc/kafka/docker" "$k/mnt/shared/config" "$work/jni"
  if [ -n "$jars" ]; then
    cp "$jars"/*.jar "$k/opt/kafka/libs/"
  else
    mvn -q -B -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -Dkafka.version=$version \
      -DoutputDirectory="$k/opt/kafka/libs"
  fi
  # log4j needs java.desktop, hence java.se and no short list of modules.
  jlink --add-modules java.se,jdk.crypto.ec,jdk.jcmd,jdk.management,jdk.naming.dns,jdk.net,jdk.unsupported,jdk.zipfs \
    --strip-java-debug-attributes --no-header-files --no-man-pages --output "$k/opt/java"
  "$k/opt/java/bin/java" -Xshare:dump >/dev/null
  # Unpacked only to see which libraries their native parts need (zstd: libpthread.so.0, missed only by zstd batches).
  for jar in "$k"/opt/kafka/libs/zstd-jni-* "$k"/opt/kafka/libs/snappy-java-* "$k"/opt/kafka/libs/lz4-java-*; do
    (cd "$work/jni" && jar xf "$jar")
  done
  find "$work/jni" -name '*.so' -exec ls -d {} + >"$work/native"
  # shellcheck disable=SC2046  # one word a line, without blanks
  base "$k" "$k/opt/java/bin/java" "$k/opt/java/lib/server/libjvm.so" "$k/opt/java/lib/libzip.so" $(cat "$work/native")
  : >"$k/etc/kafka/docker/server.properties"
  tee "$k/etc/kafka/docker/log4j2.yaml" >"$k/etc/kafka/docker/tools-log4j2.yaml" <<'EOF'
Configuration:
  Appenders: {Console: {name: STDOUT, PatternLayout: {pattern: "[%d] %p %m (%c)%n"}}}
  Loggers: {Root: {level: INFO, AppenderRef: [{ref: STDOUT}]}}
EOF
  cat >"$k/etc/kafka/docker/run" <<'EOF'
#!/bin/sh
# As in apache/kafka: KAFKA_* and CLUSTER_ID -> server.properties and formatted log dirs, then the broker. Left out: that
# image's defaults for a bare run, and its SSL file names.
set -eu
export CLUSTER_ID="${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}"
conf=/opt/kafka/config cp='/opt/kafka/libs/*'
jvm=${KAFKA_JVM_PERFORMANCE_OPTS:--XX:+UseSerialGC -XX:TieredStopAtLevel=1}
if [ ! -e $conf/formatted ]; then
  out=$(java $jvm -Xmx96m -cp "$cp" kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \
          --mounted-configs-dir /mnt/shared/config --final-configs-dir $conf 2>&1) ||
    case $out in *"already formatted"*) ;; *) echo "$out" >&2; exit 1 ;; esac
  touch $conf/formatted
fi
exec java $jvm ${KAFKA_HEAP_OPTS:--Xms256m -Xmx512m} ${KAFKA_OPTS:-} \
  -Dlog4j2.configurationFile=$conf/log4j2.yaml -cp "$cp" kafka.Kafka $conf/server.properties
EOF
  chmod 755 "$k/etc/kafka/docker/run"
  load "$k" "local/kafka:$version" --change 'ENV PATH=/opt/java/bin:/bin' --change 'CMD ["/etc/kafka/docker/run"]'
  rm -rf "$k"
}

redis() {
  r=$work/redis
  base "$r" "$(command -v redis-server)" "$(command -v redis-cli)"
  cp -L "$(command -v redis-server)" "$(command -v redis-cli)" "$r/bin/"
  cat >"$r/bin/docker-entrypoint.sh" <<'EOF'
#!/bin/sh
# As in the redis image: redis-server [args], or bare args; protected mode is off.
case "${1:-}" in redis-server) shift ;; -*|*.conf|'') ;; *) exec "$@" ;; esac
exec redis-server "$@" --protected-mode no
EOF
  chmod 755 "$r/bin/docker-entrypoint.sh"
  load "$r" local/redis:7 --change 'ENV PATH=/bin' --change 'WORKDIR /data' \
    --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["redis-server"]'
}

kafka
redis
