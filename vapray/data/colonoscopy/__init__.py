"""Colonoscopy: the union of PolypsSet, SUN and Mesejo's videos under one set of labels."""
