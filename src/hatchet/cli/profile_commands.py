"""``hatchet profile``: the names under which servers and tokens are remembered (behaviour-rest R-36.3 to R-36.5)."""

from __future__ import annotations

import sys
from dataclasses import replace

import typer

from hatchet.core.errors import FailedPrecondition, InvalidArgument

SETTINGS = {"help_option_names": ["-h", "--help"]}
NAME = typer.Option("", "--name", "-n", help="Name of the profile.", show_default=False)
TOKEN = typer.Option("", "--token", "-t", help="API token of the server.", show_default=False)

app = typer.Typer(context_settings=SETTINGS, help="Remember servers and tokens under names.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Add the commands under ``profile`` and its other spellings."""
    root.add_typer(app, name="profile")
    for alias in ("profiles", "prof"):
        root.add_typer(app, name=alias, hidden=True)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("add")
def add(name: str = NAME, token: str = TOKEN) -> None:
    """Add a profile from an API token. The first one becomes the default."""
    from hatchet.cli import probe, profiles

    pasted = profiles.unwrapped(token or _asked("API token", "--token", hide=True))
    draft = profiles.from_token(pasted, name=name or "new", tls_strategy="none")
    draft = replace(draft, tls_strategy=probe.tls_strategy(draft))
    tenant_name = probe.tenant_name(draft)
    final = replace(draft, name=name or _asked("Name of the profile", "--name", default=probe.slug(tenant_name)))
    with profiles.changing() as known:
        if final.name in known.by_name:
            raise FailedPrecondition(
                f"a profile named {final.name!r} exists already. Change its token with "
                f"`hatchet profile update --name {final.name} --token ...`, or choose another name."
            )
        known.put(final)
        known.default = known.default or final.name
        is_default = known.default == final.name
    print(f"Profile {final.name!r} added{' as the default' if is_default else ''}: {final.grpc_address}")


@app.command("update")
def update(name: str = NAME, token: str = TOKEN) -> None:
    """Give an existing profile another token."""
    from hatchet.cli import probe, profiles

    known = profiles.load()
    old = known.get(name) if name else known.get(_asked("Name of the profile", "--name", default=known.default or ""))
    pasted = profiles.unwrapped(token or _asked("API token", "--token", hide=True))
    new = profiles.from_token(pasted, name=old.name, tls_strategy=old.tls_strategy)
    new = replace(new, tls_strategy=probe.tls_strategy(new))
    probe.tenant_name(new)
    with profiles.changing() as known:
        known.put(new)
    print(f"Profile {new.name!r} updated: {new.grpc_address}")


@app.command("list")
def list_() -> None:
    """List the profiles."""
    from hatchet.cli import profiles

    known = profiles.load()
    if not known.by_name:
        print("No profiles yet. `hatchet server start` makes one, and so does `hatchet profile add`.")
        return
    width = max(len(name) for name in known.by_name)
    for profile in known.by_name.values():
        mark = "  (default)" if profile.name == known.default else ""
        print(f"{profile.name:<{width}}  {profile.api_url}  {profile.grpc_address}{mark}")


@app.command("show")
def show(
    name: str = NAME,
    show_token: bool = typer.Option(False, "--show-token", help="Print the token whole."),
) -> None:
    """Show one profile: the named one, else the default."""
    from hatchet.cli import profiles

    known = profiles.load()
    profile = known.chosen(name or None)
    lines = {
        "Name": profile.name + (" (default)" if profile.name == known.default else ""),
        "Tenant": profile.tenant_id,
        "API": profile.api_url,
        "gRPC": f"{profile.grpc_address} ({'TLS' if profile.tls_strategy == 'tls' else 'no TLS'})",
        "Expires": profile.expires_at or "never",
        "Token": profile.token if show_token else profile.masked_token,
    }
    for key, value in lines.items():
        print(f"{key + ':':<9}{value}")


@app.command("remove")
def remove(name: str = NAME) -> None:
    """Forget a profile. The token stays valid on its server."""
    from hatchet.cli import profiles

    chosen = name or _asked("Name of the profile", "--name")
    with profiles.changing() as known:
        was_default = known.default == chosen
        known.remove(chosen)
    print(f"Profile {chosen!r} removed{'; there is no default profile now' if was_default else ''}.")


@app.command("set-default")
def set_default(name: str = NAME) -> None:
    """Choose the profile that is used when none is named."""
    from hatchet.cli import profiles

    chosen = name or _asked("Name of the profile", "--name")
    with profiles.changing() as known:
        known.default = known.get(chosen).name
    print(f"Profile {chosen!r} is the default.")


@app.command("unset-default")
def unset_default() -> None:
    """Have no default profile."""
    from hatchet.cli import profiles

    with profiles.changing() as known:
        old, known.default = known.default, None
    print(f"Profile {old!r} is no longer the default." if old else "There was no default profile.")


def _asked(what: str, flag: str, *, default: str = "", hide: bool = False) -> str:
    """A value that was not given: asked for at a terminal, an error elsewhere."""
    if not sys.stdin.isatty():
        raise InvalidArgument(f"{flag} is missing, and without a terminal nobody can be asked for it.")
    return str(typer.prompt(what, default=default or None, hide_input=hide))
