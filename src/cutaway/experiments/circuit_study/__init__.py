"""`cutaway run circuit`: one circuit, from the search for it to the tests that it has to stand."""
