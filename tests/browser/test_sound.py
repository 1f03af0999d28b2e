"""What comes out of the page's loudspeaker, sample by sample, beside what the server sent."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from browser.page import Page, browse
from browser.stage import (
    EXACT,
    LOUD,
    MARKS,
    REPLY_RATE,
    SOCKET,
    STORY,
    WIRETAP,
    Samples,
    answered,
    busy,
    detoured,
    opened,
    run,
    scripted_lineup,
    tap,
    trimmed,
)
from duologue.audio import resample

pytestmark = [*MARKS, pytest.mark.waits]

CLICK = 10 ** (-60 / 20)
"""Of full scale, above 4 kHz. The scripted voice swells between 200 and 600 Hz: whatever else is heard, we made."""

MOST_DELAY_S = 0.25

SENTENCE = STORY[: STORY.index(" every")]


async def told(page: Page, question: str) -> None:
    await page.run(WIRETAP)
    await page.type(question)
    await answered(page)
    await asyncio.sleep(0.2)  # the tape's last blocks


def above_4_khz(samples: Samples, rate: int) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) < 4_000] = 0
    return np.asarray(np.fft.irfft(spectrum, len(samples)))


def test_every_sample_that_was_sent_is_played_and_none_is_added(browser: str) -> None:
    """A sound card at the replies' own rate, so that nothing is converted."""

    async def main() -> None:
        async with opened(browser, scripted_lineup([SENTENCE]), EXACT + SOCKET) as page:
            await told(page, "Tell me a story")
            assert await page.run("duologue.sound.rate") == REPLY_RATE
            sent, out = await tap(page, "sent"), trimmed(await tap(page, "out") * 32768)
            sent = trimmed(sent)
            assert len(sent) / REPLY_RATE > 2.0
            if await page.run("duologue.sound.underruns"):
                pytest.skip("this machine was too busy to play a sentence")
            assert np.array_equal(out[: len(sent)], sent)
            assert np.max(np.abs(out[len(sent) :]), initial=0) < 0.01 * 32768  # the last sample dies away
            assert page.complaints == []

    run(main())


def test_at_another_rate_the_joins_cannot_be_heard(browser: str) -> None:
    """The sound card's own rate: what the page converts piece by piece is what a good resampler makes of the whole."""

    async def main() -> None:
        async with opened(browser, scripted_lineup([SENTENCE])) as page:
            await told(page, "Tell me a story")
            rate = round(await page.run("duologue.sound.rate"))
            sent, out = await tap(page, "sent"), trimmed(await tap(page, "out"))
            if await page.run("duologue.sound.underruns"):
                pytest.skip("this machine was too busy to play a sentence")
            assert rate != REPLY_RATE
            whole = resample((sent / 32768).astype(np.float32), REPLY_RATE, rate).astype(np.float64)
            assert np.max(np.abs(above_4_khz(out, rate))) < CLICK
            start = best_start(whole, out)
            compared = min(len(out), len(whole) - start)
            assert compared / rate > 2.0
            assert np.max(np.abs(out[:compared] - whole[start : start + compared])) < 0.003

    run(main())


def best_start(whole: Samples, part: Samples) -> int:
    """Where in `whole` the `part` begins: it was trimmed of its first, silent samples."""
    head = part[:4_000]
    return min(range(400), key=lambda start: float(np.sum(np.square(whole[start : start + 4_000] - head))))


def test_a_cut_fades_and_does_not_click(browser: str) -> None:
    async def main() -> None:
        async with opened(browser, scripted_lineup([STORY])) as page:
            await page.run(WIRETAP)
            await page.type("Tell me a story")
            await page.until("document.querySelectorAll('.heard').length > 3")
            await page.run("duologue.sound.hold()")
            await asyncio.sleep(0.3)
            await page.run("duologue.sound.resume()")
            await asyncio.sleep(0.3)
            await page.click("#interrupt")
            await asyncio.sleep(0.3)
            rate = await page.run("duologue.sound.rate")
            if await page.run("duologue.sound.underruns"):
                pytest.skip("this machine was too busy to play a sentence")
            out = await tap(page, "out")
            assert (
                np.max(np.abs(above_4_khz(out, rate))) < 10 * CLICK
            )  # a fade of 10 ms is a little heard, by its nature
            assert np.max(np.abs(out[-int(0.1 * rate) :])) < LOUD

    run(main())


def test_pieces_resample_as_the_whole_does(browser: str) -> None:
    async def main() -> None:
        async with opened(browser) as page:
            different = await page.run("""(async () => {
              const { Resampler } = await import("/resampler.js");
              const noise = Float32Array.from({ length: 20000 }, (_, i) => Math.sin(i * i * 1e-4));
              const made = (source, target, sizes) => {
                const [resampler, out] = [new Resampler(source, target), []];
                for (let from = 0, n = 0; from < noise.length; n++) {
                  const size = sizes[n % sizes.length];
                  resampler.push(noise.subarray(from, from + size), (sample) => out.push(sample));
                  from += size;
                }
                resampler.flush((sample) => out.push(sample));
                return out;
              };
              const rates = [[24000, 48000], [24000, 44100], [48000, 16000], [44100, 16000], [44100, 24000], [24000, 24000]];
              return rates.map(([source, target]) => {
                const [whole, parts] = [made(source, target, [20000]), made(source, target, [1, 128, 37, 1440, 4097])];
                const due = Math.ceil(20000 * target / source);
                return [whole.length - due, parts.length - due, whole.filter((sample, i) => sample !== parts[i]).length];
              });
            })()""")
            assert different == [[0, 0, 0]] * 6

    run(main())


# ── A network that delays ──


def test_on_a_network_that_delays_the_answer_is_whole(browser: str) -> None:
    async def main() -> None:
        chance = random.Random(4)
        async with (
            detoured(scripted_lineup([STORY]), lambda: chance.uniform(0, MOST_DELAY_S)) as (url, detour),
            browse(browser, url, SOCKET + detour.script) as page,
        ):
            await page.until("document.body.dataset.state === 'idle'")
            for count in (1, 2):
                await page.type("Tell me a story")
                await answered(page, count)
            assert await page.run("duologue.sound.underruns") <= (3 if busy() else 1)

    run(main())


def test_the_player_learns_how_late_sound_may_be(browser: str) -> None:
    """Sound that comes at the pace of listening, and late: nothing but the page's own buffer stands between. At most one
    underrun a minute after the first."""

    async def main() -> None:
        async with opened(browser) as page:
            chance = random.Random(4)
            delays = [chance.uniform(0, MOST_DELAY_S * 1000) for _ in range(200)]
            await page.run(f"""(async () => {{
              await duologue.sound.unlock();
              const begun = performance.now();
              const delays = {delays};
              for (let block = 0; block < delays.length; block++) {{
                const due = begun + 60 * block + delays[block];
                if (due > performance.now()) await new Promise((later) => setTimeout(later, due - performance.now()));
                const [turn, at] = [1 + Math.floor(block / 100), block % 100];
                const pcm = Int16Array.from({{ length: 1440 }}, () => 1000).buffer;
                duologue.sound.play(turn, pcm, at * 60, at === 99);
              }}
            }})()""")
            assert await page.run("duologue.sound.underruns") <= (5 if busy() else 2)
            assert await page.run("duologue.sound.buffer_ms") > 150

    run(main())
