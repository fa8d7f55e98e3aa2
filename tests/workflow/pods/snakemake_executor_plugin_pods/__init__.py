"""Jobs as Kubernetes and AWS Batch run them, on this machine: each in an empty folder of its own.

Sources and inputs come from the storage and from nowhere else; the folder is gone when its job has ended.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncGenerator

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

# As the two plugins have them, but for what they install into each pod.
common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    job_deploy_sources=True,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)


class Executor(RemoteExecutor):
    """One process for each job."""

    def __post_init__(self) -> None:
        self.next_seconds_between_status_checks = 0.2

    def run_job(self, job) -> None:
        folder = tempfile.TemporaryDirectory(prefix="pod-")
        home = {"HOME": folder.name, "XDG_CACHE_HOME": f"{folder.name}/.cache"}
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read when the job has ended
        process = subprocess.Popen(
            ["bash", "-c", self.format_job_exec(job)],
            cwd=folder.name,
            env={**os.environ, **self.envvars(), **home},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        aux = {"process": process, "folder": folder, "log": log}
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=str(process.pid), aux=aux))

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        for info in active_jobs:
            code = info.aux["process"].poll()
            if code is None:
                yield info
                continue
            info.aux["folder"].cleanup()
            if code == 0:
                self.report_job_success(info)
            else:
                info.aux["log"].seek(0)
                self.report_job_error(info, msg=info.aux["log"].read()[-6000:])

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        for info in active_jobs:
            info.aux["process"].terminate()
