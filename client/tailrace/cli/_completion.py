"""``tailrace completion``."""

import click
from click.shell_completion import get_completion_class

from tailrace.cli._exit_code import ExitCode

_PROGRAM = "tailrace"
_VARIABLE = "_TAILRACE_COMPLETE"
"""What click makes of the program's name, and looks for when it starts."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Write what makes a shell complete commands and options.

    \b
    bash: eval "$(tailrace completion bash)" in ~/.bashrc
    zsh:  eval "$(tailrace completion zsh)" in ~/.zshrc
    fish: tailrace completion fish > ~/.config/fish/completions/tailrace.fish
    """
    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
    return ExitCode.OK
