import pytest
from book_runtime.places import NoPlaceLeft, Places


class TestPlaces:
    def test_are_left_to_others_by_who_has_half_of_them(self) -> None:
        places = Places(4)
        with places.taken_by("ada"), places.taken_by("ada"):
            with pytest.raises(NoPlaceLeft) as refused, places.taken_by("ada"):
                pass
            assert (refused.value.most, refused.value.own) == (2, True)
            with places.taken_by("grace"), places.taken_by("hedy"):
                with pytest.raises(NoPlaceLeft) as refused, places.taken_by("joan"):
                    pass
                assert (refused.value.most, refused.value.own) == (4, False)
            with places.taken_by("joan"):
                pass

    @pytest.mark.parametrize("most", [1, 3])
    def test_that_cannot_be_halved_are_rounded_up(self, most: int) -> None:
        places = Places(most)
        with places.taken_by("ada"):
            if most > 1:
                with places.taken_by("ada"), pytest.raises(NoPlaceLeft), places.taken_by("ada"):
                    pass

    def test_are_all_for_everybody_where_nobody_is_told_apart(self) -> None:
        places = Places(2)
        with places.taken_by(None), places.taken_by(None), pytest.raises(NoPlaceLeft), places.taken_by(None):
            pass

    def test_are_free_again_after_an_error(self) -> None:
        places = Places(1)
        for _ in range(2):
            with pytest.raises(KeyError), places.taken_by("ada"):
                raise KeyError
        assert not places._taken

    def test_there_may_be_none(self) -> None:
        with pytest.raises(NoPlaceLeft), Places(0).taken_by("ada"):
            pass
