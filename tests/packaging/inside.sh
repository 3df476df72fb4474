#!/bin/sh
# Run by deb-test in a fresh Debian whose pid 1 is systemd: the packages in /shared are installed, used, upgraded, removed and purged, as
# README.md and docs/debian.md say. The last line is `all is well`, or the exit status is not 0.
set -u
bad=0
say() { echo "[$(date +%T)] $*"; }
check() { if eval "$2"; then say "ok: $1"; else say "FAILED: $1"; bad=1; fi; }
conf=/etc/privacy-call-worker/privacy-call-worker.conf token=/etc/privacy-call-worker/platform-token
status() { systemctl show -P "$1" privacy-call-worker; }
# until_true SECONDS COMMAND
until_true() { n=$(($1 * 5)); while ! eval "$2"; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 0.2; done; }
apt() { DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o Dpkg::Use-Pty=0 "$@" </dev/null; }
apt_log() { apt "$@" >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; return 1; }; }

new=/shared/new/privacy-call-worker_*.deb sandbox=/shared/old/privacy-call-sandbox_*.deb

# ---- README.md's own commands, with what a user would type (in /shared/commands; `make deb` was run outside)
mkdir -p /tmp/bin /tmp/build
ln -s /shared/old /tmp/build/deb
printf '#!/bin/sh\nexec "$@"\n' >/tmp/bin/sudo
printf '#!/bin/sh\ncat /tmp/settings >>"$1"\n' >/tmp/bin/editor
chmod +x /tmp/bin/*
# readme WORDS: the command that has them
readme() {
    command=$(grep -e "$1" /shared/commands) || return 1
    (cd /tmp && echo akwiKeKEKG01kfas63910IRJL6ask38fKF6 | PATH=/tmp/bin:$PATH DEBIAN_FRONTEND=noninteractive sh -ec "$command" >/tmp/apt.log 2>&1) ||
        { cat /tmp/apt.log; return 1; }
}

# ---- installed, and not configured
check 'it installs' 'readme "apt install"'
check 'the service is enabled' '[ "$(systemctl is-enabled privacy-call-worker)" = enabled ]'
check 'it has not started, and has not failed' '[ "$(status ActiveState)" = inactive ] && [ "$(status Result)" = success ]'
check 'systemctl status says why' 'systemctl status privacy-call-worker 2>&1 | grep -q "ConditionPathExists=/etc/privacy-call-worker/platform-token"'
check 'nothing of it has failed' '! systemctl list-units --failed --no-legend | grep privacy-call'
check 'its user is there' 'id privacy-call-worker >/dev/null'
check 'the unit pleases systemd-analyze' '[ -z "$(systemd-analyze verify --man=no privacy-call-worker.service 2>&1)" ]'
systemd-analyze security --no-pager privacy-call-worker.service | tail -n 1
check 'man pages' '[ -e /usr/share/man/man1/privacy-call-worker.1.gz ] && [ -e /usr/share/man/man5/privacy-call-worker.conf.5.gz ]' # dpkg may be told to leave them out

# ---- a sandbox to serve, and the configuration
check 'the sandbox installs' "apt_log install $sandbox"
systemd-run -q --unit=sandbox privacy-call-sandbox --kafka 127.0.0.1:9092 --platform 127.0.0.1:8443 --ca /tmp/ca.pem
check 'the sandbox runs' 'until_true 20 "[ -s /tmp/ca.pem ]"'
install -m 644 /tmp/ca.pem /etc/privacy-call-worker/ca.pem
cat >/tmp/settings <<'END'
kafka.bootstrap.servers = 127.0.0.1:9092
platform.url = https://127.0.0.1:8443
platform.app.id = 774e5e14a0874r725bfb90351f1e84f677
platform.ca.file = /etc/privacy-call-worker/ca.pem
recording.store = /var/lib/privacy-call-worker
END
check 'it is configured' 'readme editor && readme "install -m 600" && [ "$(stat -c %a-%U $token)" = 600-root ]'
check 'systemctl start comes back' 'readme "systemctl start"'
check 'it is ready' 'until_true 60 "curl -sf http://127.0.0.1:9464/readyz >/dev/null"'
check 'as its own user' '[ "$(ps -o user:32= -p "$(status MainPID)")" = privacy-call-worker ]'
check 'its status is a sentence' 'until_true 20 "status StatusText | grep -q \"^serving [0-9]* partitions\""'; status StatusText
check 'the token cannot be read by its user' '! setpriv --reuid privacy-call-worker --clear-groups cat $token >/dev/null 2>&1'
check 'a request is answered' '/shared/ask'
check 'the configuration is valid, as root sees it' "privacy-call-worker -c $conf --check"
check 'the ledger can be shown' "privacy-call-worker ledger -c $conf >/dev/null"
pid=$(status MainPID)
check 'reload comes back, in the same process' 'systemctl reload privacy-call-worker && [ "$(status MainPID)" = $pid ] && [ "$(status ActiveState)" = active ]'
kill -STOP "$pid"
check 'a process that stands still is killed by the watchdog and started again' 'until_true 90 "[ \"\$(status MainPID)\" != $pid ] && [ \"\$(status SubState)\" = running ]"'
check 'and that was the watchdog' 'journalctl -u privacy-call-worker --no-pager | grep -qi "watchdog timeout"'

# ---- the settings of docs/debian.md for a token that changes without a restart, and for a secret of Kafka's
dropin=/etc/systemd/system/privacy-call-worker.service.d
# edited N: `systemctl edit` with the N-th such block of the page, and a restart
edited() {
    mkdir -p $dropin
    awk -v n="$1" '/^```ini$/ { k++; in_it = 1; next } /^```$/ { in_it = 0 } in_it && k == n' /shared/debian.md >$dropin/override.conf
    grep -q '^LoadCredential' $dropin/override.conf && systemctl daemon-reload && systemctl restart privacy-call-worker
}
reloads() { curl -sf http://127.0.0.1:9464/metrics | sed -n 's/^privacy_call_reloads_total //p'; }
chown root:privacy-call-worker $token
chmod 640 $token
check 'it starts with a token that it reads itself' 'edited 1 && until_true 60 "curl -sf http://127.0.0.1:9464/readyz >/dev/null"'
pid=$(status MainPID) before=$(reloads)
cp -p $token $token.old
cp -p $token $token.new
echo another-token >$token.new
mv $token.new $token
check 'a new token is in use without a restart' 'until_true 20 "[ \"\$(reloads)\" != \"$before\" ]" && [ "$(status MainPID)" = $pid ]'
mv $token.old $token
cp $conf /tmp/conf
echo secret | install -m 600 /dev/stdin /etc/privacy-call-worker/kafka-password
printf '%s\n' 'kafka.security.protocol = SASL_PLAINTEXT' 'kafka.sasl.mechanism = PLAIN' 'kafka.sasl.username = worker' \
    "$(sed -n 's/^`\(kafka.sasl.password.file = [^`]*\)`.*/\1/p' /shared/debian.md)" >>$conf
check 'the documented line for operators is in the configuration' "grep -q '^kafka.sasl.password.file = /etc' $conf"
check 'it starts with a password from a file of root alone' 'edited 2 && [ "$(status ActiveState)" = active ] && curl -s http://127.0.0.1:9464/livez >/dev/null'
check 'and operators read that file' "privacy-call-worker -c $conf --check"
cp /tmp/conf $conf
rm -r $dropin /etc/privacy-call-worker/kafka-password
systemctl daemon-reload
check 'without these settings it is as before' 'chmod 600 $token && chown root:root $token && systemctl restart privacy-call-worker && until_true 60 "curl -sf http://127.0.0.1:9464/readyz >/dev/null"'

# ---- upgrade
echo '# mine' >>$conf
pid=$(status MainPID)
check 'upgrade in place' "apt_log install -o Dpkg::Options::=--force-confold $new"
check 'the new version runs' '[ "$(status MainPID)" != $pid ] && [ "$(status ActiveState)" = active ]'
check 'the stop was one in order' 'journalctl -u privacy-call-worker --no-pager | grep -q "stopped with status 0"'
check 'my configuration is there' "grep -q '^# mine' $conf"
check 'it is ready again' 'until_true 60 "curl -sf http://127.0.0.1:9464/readyz >/dev/null"'

# ---- bad configuration: told, and not tried again
echo 'no.such.key = 1' >>$conf
systemctl restart privacy-call-worker 2>/dev/null
check 'bad configuration fails at once' 'until_true 10 "[ \"\$(status ActiveState)\" = failed ]" && [ "$(status ExecMainStatus)" = 2 ] && [ "$(status NRestarts)" -le 1 ]'
check 'the journal says what is wrong' 'journalctl -u privacy-call-worker --no-pager | grep -q "no.such.key"'
sed -i '/no.such.key/d' $conf
systemctl reset-failed privacy-call-worker
check 'mended, it runs' 'systemctl start privacy-call-worker'

# ---- removal and purge
check 'removal' 'apt_log remove privacy-call-worker'
check 'it does not run any more' '! pgrep -x privacy-call-wo >/dev/null'
check 'the configuration stays' "grep -q '^# mine' $conf && [ -e $token ]"
rm -f /etc/privacy-call-worker/ca.pem
check 'purge' 'apt_log purge privacy-call-worker'
check 'nothing of it stays in /etc and /var/lib' '[ ! -e /etc/privacy-call-worker ] && [ ! -e /var/lib/privacy-call-worker ] && [ ! -e /etc/systemd/system/multi-user.target.wants/privacy-call-worker.service ]'
[ $bad = 0 ] || { tail -n 3 /tmp/apt.log; journalctl -u privacy-call-worker --no-pager | tail -n 40; exit 1; }
echo 'all is well'
