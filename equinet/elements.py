"""Chemical symbols by atomic number."""

SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy "
    "Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf "
    "Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()


def symbol(atomic_number: int) -> str:
    """Return the chemical symbol of an element, such as C.

    Args:
        atomic_number: Atomic number of the element.

    Returns:
        The symbol; ``Z=`` and the number where there is no such element.

    Example:
        >>> symbol(6), symbol(200)
        ('C', 'Z=200')
    """
    known = 0 < atomic_number < len(SYMBOLS)
    return SYMBOLS[atomic_number] if known else f"Z={atomic_number}"
