"""What a training step uses, noted while the step is traced."""

from tf_alignment._support import watching


def test_a_step_inside_of_a_watched_step_is_watched_by_both():
    with watching.watch() as outer:
        with watching.watch() as inner:
            watching.note("called", "a")
        watching.note("sent", "b")
    assert inner == watching.Seen(called={"a"})
    assert outer == watching.Seen(called={"a"}, sent={"b"})
    assert not watching.active()
