"""Policies that several files of tests share. Every bucket refills too slowly for a test to notice."""

FIVE_A_DAY = """
    domain: test
    tables:
      - name: tenant
        key: [tenant]
        rows: { all: [{ per_day: 5 }] }
"""

HOUR_AND_DAY = """
    domain: test
    tables:
      - name: tenant
        select: plan
        key: [tenant]
        rows:
          small: [{ per_hour: 3 }, { per_day: 10 }]
          "small, told backwards": [{ per_day: 10 }, { per_hour: 3 }]
          large: [{ size: 100, per_day: 50 }]
          house: unlimited
          default: [{ per_day: 2 }]
      - name: user
        key: [tenant, user]
        rows: { all: [{ per_day: 4 }] }
"""
