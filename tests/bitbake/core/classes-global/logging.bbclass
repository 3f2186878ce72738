LOGFIFO = "${T}/fifo.${@os.getpid()}"

die() {
    bbfatal "$*"
}

bbplain() {
    echo "$*"
    if [ -p ${LOGFIFO} ]; then printf "%b\0" "bbplain $*" > ${LOGFIFO}; fi
}

bbnote() {
    echo "NOTE: $*"
}

bbdebug() {
    shift
    echo "DEBUG: $*"
}

bbwarn() {
    if [ -p ${LOGFIFO} ]; then printf '%b\0' "bbwarn $*" > ${LOGFIFO}; else echo "WARNING: $*"; fi
}

bbfatal() {
    if [ -p ${LOGFIFO} ]; then printf '%b\0' "bbfatal $*" > ${LOGFIFO}; else echo "ERROR: $*"; fi
    exit 1
}
