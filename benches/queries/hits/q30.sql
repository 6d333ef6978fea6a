-- Ninety sums over one column.
SELECT sum(resolutionwidth + 0), sum(resolutionwidth + 1), sum(resolutionwidth + 2), sum(resolutionwidth + 3), sum(resolutionwidth + 4), sum(resolutionwidth + 5),
       sum(resolutionwidth + 6), sum(resolutionwidth + 7), sum(resolutionwidth + 8), sum(resolutionwidth + 9), sum(resolutionwidth + 10), sum(resolutionwidth + 11),
       sum(resolutionwidth + 12), sum(resolutionwidth + 13), sum(resolutionwidth + 14), sum(resolutionwidth + 15), sum(resolutionwidth + 16), sum(resolutionwidth + 17),
       sum(resolutionwidth + 18), sum(resolutionwidth + 19), sum(resolutionwidth + 20), sum(resolutionwidth + 21), sum(resolutionwidth + 22), sum(resolutionwidth + 23),
       sum(resolutionwidth + 24), sum(resolutionwidth + 25), sum(resolutionwidth + 26), sum(resolutionwidth + 27), sum(resolutionwidth + 28), sum(resolutionwidth + 29),
       sum(resolutionwidth + 30), sum(resolutionwidth + 31), sum(resolutionwidth + 32), sum(resolutionwidth + 33), sum(resolutionwidth + 34), sum(resolutionwidth + 35),
       sum(resolutionwidth + 36), sum(resolutionwidth + 37), sum(resolutionwidth + 38), sum(resolutionwidth + 39), sum(resolutionwidth + 40), sum(resolutionwidth + 41),
       sum(resolutionwidth + 42), sum(resolutionwidth + 43), sum(resolutionwidth + 44), sum(resolutionwidth + 45), sum(resolutionwidth + 46), sum(resolutionwidth + 47),
       sum(resolutionwidth + 48), sum(resolutionwidth + 49), sum(resolutionwidth + 50), sum(resolutionwidth + 51), sum(resolutionwidth + 52), sum(resolutionwidth + 53),
       sum(resolutionwidth + 54), sum(resolutionwidth + 55), sum(resolutionwidth + 56), sum(resolutionwidth + 57), sum(resolutionwidth + 58), sum(resolutionwidth + 59),
       sum(resolutionwidth + 60), sum(resolutionwidth + 61), sum(resolutionwidth + 62), sum(resolutionwidth + 63), sum(resolutionwidth + 64), sum(resolutionwidth + 65),
       sum(resolutionwidth + 66), sum(resolutionwidth + 67), sum(resolutionwidth + 68), sum(resolutionwidth + 69), sum(resolutionwidth + 70), sum(resolutionwidth + 71),
       sum(resolutionwidth + 72), sum(resolutionwidth + 73), sum(resolutionwidth + 74), sum(resolutionwidth + 75), sum(resolutionwidth + 76), sum(resolutionwidth + 77),
       sum(resolutionwidth + 78), sum(resolutionwidth + 79), sum(resolutionwidth + 80), sum(resolutionwidth + 81), sum(resolutionwidth + 82), sum(resolutionwidth + 83),
       sum(resolutionwidth + 84), sum(resolutionwidth + 85), sum(resolutionwidth + 86), sum(resolutionwidth + 87), sum(resolutionwidth + 88), sum(resolutionwidth + 89)
FROM hits;
