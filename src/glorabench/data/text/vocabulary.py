"""The words of the small world: names of people and places, and the things that are said of them."""

# ruff: noqa: SIM905 (a list of words reads best as a line of words)
from __future__ import annotations

from typing import Final

FIRST_NAMES: Final = (
    "Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Maria Noah Olga Paul Rosa Sam Tina Victor "
    "Alice Bruno Carl Dora Eric Fiona George Helen Ivan Julia Karl Laura Martin Nina Oscar Peter Ruth Simon Tom Vera"
).split()
LAST_NAMES: Final = (
    "Adler Baker Carter Dixon Ellis Fisher Gray Hill Irving Jones Keller Lane Mason Norris Owen Porter Quinn Reed "
    "Stone Taylor Usher Vance Ward Young Abbot Brook Cole Drake Evans Ford Grant Hunt Innes Kent Lowe Marsh Nash "
    "Page Ross Shaw"
).split()
CITIES: Final = (
    "Arden Belford Corby Delmont Eston Farley Granby Harlow Ilford Jarrow Kelso Linton Malden Norwick Oakham Penrith "
    "Quenby Radley Selby Tarvin Upton Venley Walden Yarm"
).split()
JOBS: Final = (
    "nurse farmer painter teacher sailor lawyer doctor singer pilot tailor butcher gardener driver writer builder "
    "judge miner cook dancer printer guard clerk weaver potter"
).split()
PETS: Final = (
    "dog cat horse rabbit parrot goat duck snake turtle mouse pony sheep goose fox owl frog lizard hen pig donkey"
).split()
FOODS: Final = (
    "soup bread cheese rice fish honey beans cake eggs pears plums nuts corn figs pasta apples onions lamb grapes salad"
).split()
INSTRUMENTS: Final = "piano violin drum flute guitar harp trumpet organ cello horn banjo lute".split()
COLOURS: Final = "red blue green yellow black white brown purple orange grey pink silver".split()
THINGS: Final = (
    "lamp rope coin book cup knife ring bell box hat chair clock shirt key map pen bag spoon candle brush stamp stone "
    "basket ladder"
).split()
DAYS: Final = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS: Final = ("January February March April May June July August September October November December").split()
NUMBER_WORDS: Final = "one two three four five six seven eight nine ten eleven twelve".split()
