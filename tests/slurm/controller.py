"""A Slurm of one node on the loopback interface, for tests; without accounting."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
# Clients and the executor's own `srun` look nowhere else.
ETC = Path("/etc/slurm")
MARK = "# Written by the tests of ceiflow; delete at will."
CONFIG = """{mark}
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdParameters=config_overrides
MailProg=/bin/true
MinJobAge=3600
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=ci Nodes=ALL Default=YES MaxTime=UNLIMITED DefMemPerCPU=500 State=UP
AccountingStorageType=accounting_storage/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
"""
CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n"


class Unavailable(Exception):
    """Why no controller can be started here."""


def install() -> None:
    """Debian's packages, where this is root on a Debian; no service is started."""
    if os.geteuid() != 0:
        raise Unavailable("a Slurm controller needs root")
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged")):
        return
    if not shutil.which("apt-get"):
        raise Unavailable("slurm is not installed, and there is no apt-get to install it")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for call in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *call], env=quiet, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise Unavailable(f"apt-get {call[0]} failed: {done.stderr.strip().splitlines()[-1:]}")


class Controller:
    """Daemons that this process started, and ends.

    Parameters
    ----------
    folder : path
        For state and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._running: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Write the configuration and start everything; waits until the node is idle."""
        config = ETC / "slurm.conf"
        if config.exists() and MARK not in config.read_text():
            raise Unavailable(f"{config} belongs to a cluster")
        if self._answers():
            raise Unavailable("a Slurm controller runs here already")
        ETC.mkdir(exist_ok=True)
        config.write_text(
            CONFIG.format(mark=MARK, host=socket.gethostname().split(".")[0], folder=self.folder)
        )
        (ETC / "cgroup.conf").write_text(CGROUP)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self._munge()
        self.start_controller()
        self._start("slurmd", "-D")
        self._wait_for_node()

    def start_controller(self) -> None:
        """The controller alone, again after `kill_controller`; it takes up the jobs that it knew."""
        self._start("slurmctld", "-D")

    def kill_controller(self) -> None:
        """The controller goes as in a crash; the node and its jobs go on."""
        process = self._running.pop("slurmctld")
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End every daemon, the jobs first."""
        if self._answers():
            subprocess.run(["scancel", "--user", "root"], capture_output=True, timeout=30)
        for process in reversed(self._running.values()):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for name in ("slurm.conf", "cgroup.conf"):
            (ETC / name).unlink(missing_ok=True)

    def jobs(self) -> list[dict[str, str]]:
        """Every job that the controller remembers, finished ones too: the fields of `scontrol show job`."""
        done = subprocess.run(
            ["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, timeout=30
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("JobId=")]
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def _start(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as log:
            self._running[name] = subprocess.Popen([name, *arguments], stdout=log, stderr=log)

    def _munge(self) -> None:
        """Munge in Debian's own places, where the clients look for its socket."""
        if subprocess.run(["munge", "-n"], capture_output=True, timeout=30).returncode == 0:
            return
        Path("/run/munge").mkdir(exist_ok=True)
        for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
            shutil.chown(folder, "munge", "munge")
        with open(self.folder / "munged.out", "ab") as log:
            call = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground"]
            self._running["munged"] = subprocess.Popen(call, stdout=log, stderr=log)
        self._until(
            lambda: subprocess.run(["munge", "-n"], capture_output=True, timeout=30).returncode == 0, "munge"
        )

    def _answers(self) -> bool:
        if not (ETC / "slurm.conf").exists():
            return False
        call = ["scontrol", "ping"]
        try:
            return "is UP" in subprocess.run(call, capture_output=True, text=True, timeout=30).stdout
        except subprocess.TimeoutExpired:
            return False

    def _wait_for_node(self) -> None:
        def idle() -> bool:
            done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, timeout=30)
            return done.stdout.strip() == "idle"

        self._until(idle, "the node")

    def _until(self, ready, what: str) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            if time.monotonic() > deadline:
                raise Unavailable(f"{what} did not come up, see {self.folder}")
            time.sleep(0.2)
