"""Colonoscopy dataset: the union of PolypsSet, SUN and Mesejo's videos with common labels."""
