import subprocess
import sys
import textwrap

# In a process of its own: what becomes a subreaper stays one.
PROGRAM = """
    import os, subprocess
    from bench import processes

    processes.become_subreaper()
    script = "exec 3<&0; " + 2 * "setsid sh -c 'echo up; read never <&3' & "
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout.readline() + shell.stdout.readline() == b"up\\nup\\n"
        shell.wait()
        assert len(list(processes.descendants(os.getpid()))) == 2
        assert set(processes.cpu_s()) == {"sh"}
        held = processes.memory()
        assert 0 < held.proportional_mib < held.resident_mib < 100
        assert not processes.wait_until_gone(timeout_s=0.1)
        processes.kill_all()
        assert not list(processes.descendants(os.getpid()))
        assert processes.wait_until_gone(timeout_s=0.1)
"""


def test_detached_processes_are_found_weighed_and_killed() -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM)], check=True)
