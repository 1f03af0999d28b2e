"""Whether everybody can use the page: axe-core's rules in each of its states, light and dark, on desktops and telephones."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from browser.page import Page
from browser.stage import MARKS, STORY, answered, opened, run, scripted_lineup

pytestmark = [*MARKS, pytest.mark.waits]

AXE = "axe-core@4.10.3"
"""Its rules change with its version: a newer one may find what is not new."""

SIZES = {"desktop": (1280, 800), "telephone": (390, 844)}


@pytest.fixture(scope="session")
def axe(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Fetched when it is first wanted, and kept with pytest's own things: no part of the package has it."""
    kept = getattr(pytestconfig, "cache", None)
    cache = kept.mkdir("axe") if kept else tmp_path_factory.mktemp("axe")
    script = Path(cache) / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if (npm := shutil.which("npm")) is None:
            pytest.skip("axe-core comes by npm, which is not here")
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache), AXE]
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if fetched.returncode:
            pytest.skip(f"axe-core cannot be fetched: {fetched.stderr.strip().splitlines()[-1:]}")
    return script.read_text(encoding="utf-8")


async def violations(page: Page, size: tuple[int, int]) -> list[str]:
    """In the light and in the dark, without a repetition."""
    found: dict[str, str] = {}
    for scheme in ("light", "dark"):
        await page.look(*size, scheme, motion="reduce")
        broken, kept = await page.run("axe.run().then(({ violations, passes }) => [violations, passes.length])")
        assert kept > 20  # rules
        found |= {
            f"{rule['id']}: {rule['help']}: {[node['html'][:120] for node in rule['nodes']]}": scheme for rule in broken
        }
    return list(found)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_axe_finds_nothing_in_any_state(browser: str, axe: str, size: tuple[int, int]) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY * 3, "Yes."])) as page:
            await page.run(f"void {axe}")
            found = {"welcome": await violations(page, size)}
            await page.click("#talk")
            await page.until("!document.querySelector('#notice').hidden")
            found["no microphone"] = await violations(page, size)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 3")
            found["speaking"] = await violations(page, size)
            await page.click("#interrupt")
            await page.until("document.querySelector('.unheard')")
            await page.type("Is that all?")
            await answered(page)
            await page.click("#open-insights")
            found["a conversation and its session"] = await violations(page, size)
            await page.click("#insights-close")
            await page.run("document.querySelector('#saving').showPopover()")
            found["saving"] = await violations(page, size)
            await page.run("document.querySelector('#saving').hidePopover()")
            await page.click("#open-settings")
            await page.choose("emotional", True)
            await page.until("!document.querySelector('#emotion').hidden")
            found["settings"] = await violations(page, size)
            assert not any(found.values()), json.dumps(found, indent=1)

    run(main())


def test_who_listens_to_the_page_is_told_what_was_understood_and_not_everything(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            await page.type("Good morning")
            await answered(page)
            assert await page.text("[aria-live=polite]") == "You: Good morning"
            live = await page.run("document.querySelectorAll('[role=log][aria-live=off]').length")
            assert live == 1  # the answer is heard: nobody speaks over it
            assert await page.run("document.querySelector('#state').closest('[aria-live]')") is None

    run(main())


def test_with_reduced_motion_nothing_moves(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY])) as page:
            await page.look(1280, 800, motion="reduce")
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 3")
            await page.click("#open-insights")
            assert await page.run("document.getAnimations().length") == 0

    run(main())


WIDE = """[...document.querySelectorAll("body > header *, body > footer *, main *, dialog[open] *")]
  .filter((part) => part.checkVisibility() && !part.closest(".unseen, .strip, svg"))
  .filter((part) => part.getBoundingClientRect().right > %d || part.getBoundingClientRect().left < 0)
  .map((part) => `${part.tagName} ${part.id} ${part.textContent.slice(0, 40)}`)"""
"""What reaches beyond the screen."""


@pytest.mark.parametrize("width", [320, 360])
def test_nothing_is_wider_than_a_small_telephone_in_any_language(browser: str, width: int) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY * 6])) as page:
            await page.look(width, 640, motion="reduce")
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 3")
            wide = {}
            for language in ("en", "hi", "es", "ms", "ta", "te", "mr"):
                await page.choose("interface", language)
                await page.until(f"document.documentElement.lang === '{language}'")
                wide[language] = await page.run(WIDE % width)
                await page.click("#open-settings")
                wide[f"settings, {language}"] = await page.run(WIDE % width)
                await page.run("document.querySelector('#settings').close()")
            assert not any(wide.values()), json.dumps(wide, indent=1, ensure_ascii=False)
            assert await page.run("document.body.dataset.state") == "speaking"

    run(main())
